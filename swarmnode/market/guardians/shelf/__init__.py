"""What a keeper has: its tasks, whose they are and how much, and what it remembers of others.

tasks   those that are kept, and what every step does with one
shares  how much of that is whose: nobody alone fills a keeper
past    tasks that are kept no more, so that what comes late about them does no harm
"""
