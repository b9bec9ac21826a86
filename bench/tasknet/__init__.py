"""What a task's network costs: `python -m bench tasknet`; figures.py says how it is measured."""
