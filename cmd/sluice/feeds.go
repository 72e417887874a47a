package main

import (
	"sluice"
	"sluice/config"
	"sluice/feed"
)

// feedSpecs makes the feeds of a configuration.
func feedSpecs(c *config.Config, fac *facility) ([]feed.Spec, error) {
	var out []feed.Spec
	for _, f := range c.Feeds {
		src, err := feedSource(c, f, fac)
		if err != nil {
			return nil, err
		}
		spec := feed.Spec{Name: f.Name, Source: src, Refresh: f.Refresh.Duration(), MaxAge: f.MaxAge.Duration()}
		if len(f.Fallback) > 0 {
			spec.Fallback = map[feed.Quantity]float64{}
			for q, v := range f.Fallback {
				spec.Fallback[feed.Quantity(q)] = v
			}
		}
		out = append(out, spec)
	}
	return out, nil
}

func noSource(typ string) error {
	return sluice.Errorf(sluice.Invalid, "", "no feed is of type %q", typ)
}
