"""Every check of the project; a package, because a library in use installs one called `tests` too."""
