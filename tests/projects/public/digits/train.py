import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--trees", type=int, default=60)
args = parser.parse_args()

print("training", flush=True)
digits = load_digits()
train_x, test_x, train_y, test_y = train_test_split(digits.data, digits.target, random_state=7)
model = RandomForestClassifier(args.trees, random_state=7).fit(train_x, train_y)
print(f"accuracy {model.score(test_x, test_y):.4f}")
np.save("importance.npy", model.feature_importances_)
