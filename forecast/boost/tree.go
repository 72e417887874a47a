package boost

import "math"

// node is a node of a tree. A leaf has feature < 0 and its value; at any other
// node values up to cut go to the child left, others to left+1.
type node struct {
	feature     int32
	left        int32
	bin         uint8 // of cut, in the table that the tree was fitted on
	missingLeft bool
	cut         float64
	value       float64
}

type tree []node

// walk returns the leaf that a row of features falls into.
//
//go:norace
func (t tree) walk(x []float64) *node {
	n := &t[0]
	for n.feature >= 0 {
		v := x[n.feature]
		left := v <= n.cut
		if v != v { // NaN
			left = n.missingLeft
		}
		if left {
			n = &t[n.left]
		} else {
			n = &t[n.left+1]
		}
	}
	return n
}

// step is a node in the form that rows of the table are walked with: a row goes
// left if its bin, less shift, is at most limit. With a shift of 1 the bin of
// missing values, 0, becomes the largest.
type step struct {
	bin          []uint8 // of the node's column; nil for a leaf
	left         int32
	limit, shift uint8
}

// steps writes the tree in that form, in the memory of s.
func (t tree) steps(tb *Table, s []step) []step {
	s = s[:0]
	for i := range t {
		n := &t[i]
		if n.feature < 0 {
			s = append(s, step{})
			continue
		}
		shift := uint8(1)
		if n.missingLeft {
			shift = 0
		}
		s = append(s, step{bin: tb.cols[n.feature].bin, left: n.left, limit: n.bin - shift, shift: shift})
	}
	return s
}

// cell sums up the rows of one bin: weight × gradient, and weight.
type cell struct{ g, w float64 }

// leaf is a leaf of a tree that still grows.
type leaf struct {
	node     int32
	from, to int // its rows in grower.order
	sum      cell
	hist     []cell
	gain     float64 // of its best split; 0 without one
	split    node
}

// grower makes one tree after another in the same memory. The race detector leaves
// its loops alone (norace): they touch only what belongs to one fit, and take far
// longer when watched.
type grower struct {
	tb      *Table
	opt     *Options
	use     []int // columns that the tree may split on
	order   []int32
	of      []cell // gradient and weight of the rows, in the order of order
	scratch []int32
	cells   []cell
	free    [][]cell // histograms to use again
	leaves  []leaf
}

// grow fits a tree to the gradients of the rows in g.order. The best leaf is
// split first, until there are enough.
func (g *grower) grow() tree {
	t := tree{{feature: -1}}
	for i := range g.leaves {
		g.free = append(g.free, g.leaves[i].hist)
	}
	g.leaves = g.leaves[:0]
	root := leaf{from: 0, to: len(g.order)}
	for _, c := range g.of[:len(g.order)] {
		root.sum.g += c.g
		root.sum.w += c.w
	}
	root.hist = g.histogram(&root)
	g.best(&root)
	g.leaves = append(g.leaves, root)
	for len(g.leaves) < g.opt.Leaves {
		best := 0
		for i := range g.leaves {
			if g.leaves[i].gain > g.leaves[best].gain {
				best = i
			}
		}
		if g.leaves[best].gain <= 0 {
			break
		}
		t = g.divide(t, best)
	}
	for i := range g.leaves {
		l := &g.leaves[i]
		t[l.node].value = l.sum.g / (l.sum.w + g.opt.L2)
	}
	return t
}

// divide splits a leaf in two: the left child takes its place, the right one is
// new. The smaller child's histogram is counted, the other's is the difference.
//
//go:norace
func (g *grower) divide(t tree, at int) tree {
	parent := g.leaves[at]
	s := parent.split
	s.left = int32(len(t))
	t[parent.node] = s
	t = append(t, node{feature: -1}, node{feature: -1})

	bin := g.tb.cols[s.feature].bin
	mid, over := parent.from, 0
	var left cell
	for k := parent.from; k < parent.to; k++ {
		row, c := g.order[k], g.of[k]
		b := bin[row]
		if b <= s.bin && (b != 0 || s.missingLeft) {
			g.order[mid], g.of[mid] = row, c
			left.g += c.g
			left.w += c.w
			mid++
		} else {
			g.scratch[over], g.cells[over] = row, c
			over++
		}
	}
	copy(g.order[mid:parent.to], g.scratch[:over])
	copy(g.of[mid:parent.to], g.cells[:over])

	a := leaf{node: s.left, from: parent.from, to: mid, sum: left}
	b := leaf{node: s.left + 1, from: mid, to: parent.to, sum: cell{parent.sum.g - left.g, parent.sum.w - left.w}}
	small, large := &a, &b
	if b.to-b.from < a.to-a.from {
		small, large = &b, &a
	}
	small.hist = g.histogram(small)
	large.hist = parent.hist
	for i, c := range small.hist {
		large.hist[i].g -= c.g
		large.hist[i].w -= c.w
	}
	g.best(&a)
	g.best(&b)
	g.leaves[at] = a
	g.leaves = append(g.leaves, b)
	return t
}

// histogram sums up a leaf's rows by bin, for the columns in use.
//
//go:norace
func (g *grower) histogram(l *leaf) []cell {
	var h []cell
	if n := len(g.free); n > 0 {
		h, g.free = g.free[n-1], g.free[:n-1]
		clear(h)
	} else {
		h = make([]cell, g.tb.total)
	}
	rows, of := g.order[l.from:l.to], g.of[l.from:l.to]
	of = of[:len(rows)]
	for _, j := range g.use {
		c := &g.tb.cols[j]
		part := h[c.first : c.first+c.bins()]
		bin := c.bin
		for k, row := range rows {
			p := &part[bin[row]]
			p.g += of[k].g
			p.w += of[k].w
		}
	}
	return h
}

// best finds the split of the leaf that lowers the loss most.
//
//go:norace
func (g *grower) best(l *leaf) {
	l.gain = 0
	if float64(l.to-l.from) < 2*g.opt.MinRows {
		return
	}
	l2, least := g.opt.L2, g.opt.MinRows
	base := l.sum.g * l.sum.g / (l.sum.w + l2)
	floor := 1e-12 * (math.Abs(base) + 1e-300)
	for _, j := range g.use {
		c := &g.tb.cols[j]
		h := l.hist[c.first : c.first+c.bins()]
		miss := h[0]
		var a cell // bins 1 to b
		for b := 1; b < len(h); b++ {
			a.g += h[b].g
			a.w += h[b].w
			for side := range 2 {
				// Without missing rows both sides are the same split.
				if side == 1 && miss.w == 0 {
					break
				}
				left := a
				if side == 0 {
					left.g += miss.g
					left.w += miss.w
				}
				right := cell{l.sum.g - left.g, l.sum.w - left.w}
				if left.w < least || right.w < least {
					continue
				}
				gain := left.g*left.g/(left.w+l2) + right.g*right.g/(right.w+l2) - base
				if gain > l.gain && gain > floor {
					l.gain = gain
					cut := math.Inf(1) // the last bin: only missing values go right
					if b-1 < len(c.edges) {
						cut = c.edges[b-1]
					}
					l.split = node{feature: int32(j), bin: uint8(b), cut: cut, missingLeft: side == 0}
				}
			}
		}
	}
}
