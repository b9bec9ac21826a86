"""Work folders: a file system for each job where the host can, else measured.

A *work disk* is an image with ext4 over a loop device, laid over what the job was given by
overlayfs: the kernel holds the job to its size. Without one the folder is walked and counted, by
rules that a job cannot evade. All reading and writing goes by descriptors and through no link of
the job's.
Source: loop(4), https://docs.kernel.org/filesystems/overlayfs.html.
"""
