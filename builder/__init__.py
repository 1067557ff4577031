"""From an environment file to an image: spec -> lock -> plan -> layers -> image. See docs/architecture.md."""
