"""Running a command inside an image's root file system, with neither daemon nor root: bubblewrap.

With bubblewrap 0.11 or later the layer trees are mounted as they are (`--overlay-src`), over them a `tmpfs` that takes
what is written and goes with the process. With an older one, or when the mount options would be too long, the trees
are merged once into a folder of hard links that is bound read-only. Isolation is never given up in silence: when no
bubblewrap works here, that is an error which names the probe that failed and the cure. Nothing in a sandbox outlives
whoever started it (`guard`).
"""
