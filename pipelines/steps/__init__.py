"""The steps of a night, one module each: settings in, a frozen report out. Each can be killed anywhere and repeated."""
