"""One package in, one piece of an image out: read, unpacked, relocated, compiled, scripts run."""
