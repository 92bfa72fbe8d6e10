"""Eyes: people look and overrule."""
