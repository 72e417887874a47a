// Package report shows results to people: tables for terminals and for
// spreadsheets, and one self-contained HTML page with pictures that opens
// anywhere, offline, prints well and follows the reader's dark or light mode.
//
// It owns how things look and nothing of what they mean: it is given plain
// data (a Page of Facts, a Table, Charts) and knows no policies and no plans.
// Nothing in it reads a clock or a file, the same data give the same bytes,
// and every text is escaped wherever it lands.
//
// Charts are drawn here as SVG, in two widths each (a page for a desk and one
// for a phone, so that letters stay readable on both). Series of any length
// are thinned to what a pixel can show, keeping each pixel's extremes for lines
// and its mean for areas.
package report
