"""What a recipe is, and the recipes: ours and the published ones."""
