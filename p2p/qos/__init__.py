"""Which frame goes next: classes, scheduler, pump."""
