"""Who is told what, and when: one message per run and channel, about what is new."""
