"""Pure: what a request says about itself, as it is stored, published and read again."""
