from datasets import load_dataset

print("loading", flush=True)
rows = load_dataset("json", data_files="rows.jsonl", split="train")
long = rows.filter(lambda row: row["words"] > 2).map(lambda row: {"upper": row["text"].upper()})
print(long.num_rows, long.column_names)
print(long[0]["upper"])
long.to_json("long.jsonl")
