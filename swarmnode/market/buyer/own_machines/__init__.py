"""What the machines of one person tell each other of their tasks.

machines     all of that, and the taking up of what one that is gone had
elsewhere    one that another of them has: found, read and cancelled from here
standing     how a task stands here, and who may know
left_behind  what their guardians know of one that is gone, for the machine that takes over
hand_over    this one was thought gone and is back: what the taker has is not its any more
"""
