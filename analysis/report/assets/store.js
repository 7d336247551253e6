"use strict";
// What the page knows of the trials: columns, unpacked once, and a view of each trial upon them. See trial_store.py.

const STORE = JSON.parse(document.getElementById("trial-data").textContent);

function unpacked(values) {
  if (Array.isArray(values)) return values;
  if ("all" in values) return Array(STORE.trials.length).fill(values.all);
  return values.codes.map((code) => values.levels[code]);
}

const COLUMNS = STORE.columns.map((column) => ({ ...column, values: unpacked(column.values) }));
const COLUMN = Object.fromEntries(COLUMNS.map((column) => [column.key, column]));
const FRONT = new Set(STORE.front);

// As the tables of a paper have it: four digits, seconds whole, a dash for what is missing.
function shownValue(column, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return value;
  return column.key === "seconds" ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

function escaped(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

class Trial {
  constructor(row) { this.row = row; this.number = STORE.trials[row]; }
  value(key) { return COLUMN[key]?.values[this.row] ?? null; }
  text(column) { return shownValue(column, column.values[this.row]); }
  get title() { return `trial ${this.number}`; }
  get status() { return this.value("status"); }
  get isComplete() { return this.status === "complete"; }
  get architecture() { return this.value("architecture"); }
  get method() { return this.value("method"); }
  get failure() { return this.value("failure_reason"); }
  get pictures() { return STORE.pictures[this.number] ?? []; }
  has(column) { return column.values[this.row] !== null; }

  // What a marker says beneath the pointer; Plotly reads markup in it, so names are escaped.
  get hover() {
    const searched = COLUMNS.filter((column) => column.searched && this.has(column));
    const lines = searched.map((column) => `${escaped(column.title)} ${escaped(this.text(column))}`);
    return [`<b>${this.title}</b> (${escaped(this.status)})`, ...lines].join("<br>");
  }

  get config() {
    return COLUMNS.filter((column) => column.group === "config" && this.has(column));
  }

  // Label -> scores in words, those of the split of claims beside those of validation.
  get scores() {
    const found = {};
    for (const column of COLUMNS.filter((one) => one.group === "score")) {
      if (!this.has(column)) continue;
      const words = `${this.text(column)}${column.unit ? ` ${column.unit}` : ""} (${column.split})`;
      found[column.label] = found[column.label] ? `${found[column.label]}, ${words}` : words;
    }
    return found;
  }
}

const TRIALS = Object.fromEntries(STORE.trials.map((number, row) => [number, new Trial(row)]));

// ---- which trials are selected -------------------------------------------------------------------

let selected = null; // a Set of numbers; null: no selection, which is all

function select(numbers) {
  selected = numbers === null ? null : new Set(numbers);
  document.dispatchEvent(new Event("taskct-selection"));
}

const isSelected = (number) => selected === null || selected.has(Number(number));
