package dispatch

// Plan is what should be done over the horizon.
type Plan struct {
	ObjectiveUSD float64     `json:"objective_usd"`
	BoundUSD     *float64    `json:"bound_usd"` // no feasible plan is worth more; nil where not feasible
	Moves        []Move      `json:"moves"`
	Runs         []Run       `json:"runs"`
	Reserves     []ReserveKW `json:"reserves"`
	Feasible     bool        `json:"feasible"`
	Violations   []Violation `json:"violations"`
	// Prices is the shadow price of power, USD/MWh, of each node and interval:
	// energy, limits and demand charges together.
	Prices map[string][]float64 `json:"prices,omitempty"`
}

// Move is a change of mode of so many units at the start of interval T.
type Move struct {
	T     int    `json:"t"`
	Class string `json:"class"`
	From  string `json:"from"`
	To    string `json:"to"`
	Units int    `json:"units"`
}

// Run is one unbroken run of a job over the intervals [Start, End).
type Run struct {
	Job   string `json:"job"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

// ReserveKW is what is kept ready for a reserve in each interval, in kW.
type ReserveKW struct {
	Name string    `json:"name"`
	KW   []float64 `json:"kw"`
}

// Violation is a limit that cannot be kept whatever is done.
type Violation struct {
	T      int     `json:"t"`
	Node   string  `json:"node"`
	OverKW float64 `json:"over_kw"`
}

// Counts returns how many units of the class stand in each mode in each
// interval, after that interval's moves; nil for a class that is not there.
func (p *Plan) Counts(in *Instance, class string) []map[string]int {
	var c *Class
	for i := range in.Classes {
		if in.Classes[i].Name == class {
			c = &in.Classes[i]
		}
	}
	if c == nil {
		return nil
	}
	moves := make([][]Move, in.Intervals)
	for _, m := range p.Moves {
		if m.Class == class && m.T >= 0 && m.T < in.Intervals {
			moves[m.T] = append(moves[m.T], m)
		}
	}
	out := make([]map[string]int, in.Intervals)
	now := map[string]int{}
	for m, n := range c.Initial {
		if n > 0 {
			now[m] = n
		}
	}
	for t := range out {
		for _, m := range moves[t] {
			now[m.From] -= m.Units
			now[m.To] += m.Units
		}
		row := make(map[string]int, len(now))
		for m, n := range now {
			if n != 0 {
				row[m] = n
			}
		}
		out[t] = row
	}
	return out
}
