"""What a host is: `probe` looks there, `document` reads what it saw, `findings` judges it, `collect` joins them."""
