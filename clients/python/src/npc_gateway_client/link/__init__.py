"""One socket at a time: opening, frames, closing, and when to come back."""
