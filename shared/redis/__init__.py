"""Redis: the queue, wakes and events, rate limits."""
