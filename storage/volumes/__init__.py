"""Where shards rest on this disk: volume files for the bulk, tables for what is small."""
