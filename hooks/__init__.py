"""Git hooks: install, uninstall, and the check that runs on the staged change."""
