"""A real Label Studio for the tests: the server, a browser, a faulty proxy, image hosts, and what exports hold."""
