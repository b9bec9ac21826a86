"""Who keeps what until when, and for whom: a lease is a person's claim on bytes that lie here.

A put is *held* for minutes until its manifest comes, which turns its *hold* into a lease of weeks;
the owner renews it. Bytes go with the last lease on them; one that only ended is kept for a while
longer (*trash*). A lease is charged to whoever brought it (`shares`), and kept apart from what
others bring under the same id (`keys`). `book` does all of that, `tables` has what each keeps,
`underway` keeps those who put, who free and who judge out of each other's way.
Cf. leases (Gray, Cheriton, SOSP 1989).
"""
