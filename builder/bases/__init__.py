"""The layers below every environment: from pinned Debian packages, or from a registry by digest."""
