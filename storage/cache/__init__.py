"""Verified plaintext in memory for the next reader, within a bound of bytes.

`policy` decides what stays (S3-FIFO: what is asked for only once leaves early), `cache` has the
segments and sees to it that each is fetched by one reader at a time.
Source: Yang et al., SOSP 2023, https://dl.acm.org/doi/10.1145/3600006.3613147
"""
