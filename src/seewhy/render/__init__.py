"""Pictures of explanations: everything here reads plain arrays and values, and knows no torch."""
