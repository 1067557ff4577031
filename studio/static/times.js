// Times are written in UTC by the server, and shown in the reader's zone.
const clock = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
const short = new Intl.DateTimeFormat(undefined, clock);
const older = new Intl.DateTimeFormat(undefined, { ...clock, year: "numeric" });
const long = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function showTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    const recent = moment.getFullYear() === new Date().getFullYear();
    element.textContent = (recent ? short : older).format(moment);
    element.title = long.format(moment);
  }
}
