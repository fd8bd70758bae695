"""What registrars sign for the key registry on a chain, and the calls that carry it there."""
