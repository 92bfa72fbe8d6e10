"""Who is asking: tokens for programs, sessions for browsers, identity providers, and what each may."""
