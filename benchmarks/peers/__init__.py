"""What Parley is measured beside, each written as a competent engineer plainly would."""
