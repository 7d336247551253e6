"""One experiment: its folders, its stages (simulate, pre-train, train, search), and what is checked before each."""
