"""The whole stack on a real container engine: `make compose-test`. It needs nothing but Python and Compose."""
