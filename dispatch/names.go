package dispatch

// names finds by its name one of n things: a few by going through them, many by
// a map. Where names are given twice it finds the first.
type names struct {
	n    int
	name func(i int) string
	m    map[string]int
}

// fewNames is up to how many are gone through: about where a map gets faster.
const fewNames = 16

func namesOf(n int, name func(int) string) names {
	x := names{n: n, name: name}
	if n > fewNames {
		x.m = make(map[string]int, n)
		for i := n - 1; i >= 0; i-- {
			x.m[name(i)] = i
		}
	}
	return x
}

// find returns which one has the name, -1: none.
func (x *names) find(s string) int {
	if x.m != nil {
		if i, ok := x.m[s]; ok {
			return i
		}
		return -1
	}
	for i := range x.n {
		if x.name(i) == s {
			return i
		}
	}
	return -1
}

func (in *Instance) nodeNames() names {
	return namesOf(len(in.Nodes), func(i int) string { return in.Nodes[i].Name })
}

func (in *Instance) classNames() names {
	return namesOf(len(in.Classes), func(i int) string { return in.Classes[i].Name })
}

func (in *Instance) jobNames() names {
	return namesOf(len(in.Jobs), func(i int) string { return in.Jobs[i].Name })
}

// mode returns which mode of the class has the name: len(Modes) for job, -1 for
// one that is not there.
func (c *Class) mode(name string) int {
	for m := range c.Modes {
		if c.Modes[m].Name == name {
			return m
		}
	}
	if name == JobMode {
		return len(c.Modes)
	}
	return -1
}
