"""The web page: environments, builds and runs in a browser, live. It keeps nothing of its own."""
