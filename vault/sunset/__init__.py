"""The sunset: the date on which everything is destroyed by itself, unless somebody has decided to keep it."""
