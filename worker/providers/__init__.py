"""The servers and engines that hear, write and speak."""
