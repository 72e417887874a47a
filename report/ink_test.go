package report

import (
	"fmt"
	"math"
	"testing"
)

// How eyes that lack one kind of cones see linear sRGB: Machado, Oliveira and
// Fernandes, A Physiologically-based Model for Simulation of Color Vision
// Deficiency, 2009, severity 1.
var eyes = map[string][9]float64{
	"all cones":  {1, 0, 0, 0, 1, 0, 0, 0, 1},
	"protanopia": {0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998},
	"deuteran":   {0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881},
	"tritanopia": {1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900},
}

func linear(hex string) (rgb [3]float64) {
	var c [3]int
	fmt.Sscanf(hex, "#%02x%02x%02x", &c[0], &c[1], &c[2])
	for i := range c {
		v := float64(c[i]) / 255
		if rgb[i] = v / 12.92; v > 0.04045 {
			rgb[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return rgb
}

// oklab is a colour as an eye sees it, in Ottosson's OKLab of 2020, where
// distances are alike to the eye: 0.02 is just noticeable.
func oklab(hex string, eye [9]float64) [3]float64 {
	c := linear(hex)
	var s [3]float64
	for i := range s {
		s[i] = min(1, max(0, eye[3*i]*c[0]+eye[3*i+1]*c[1]+eye[3*i+2]*c[2]))
	}
	l := math.Cbrt(0.4122214708*s[0] + 0.5363325363*s[1] + 0.0514459929*s[2])
	m := math.Cbrt(0.2119034982*s[0] + 0.6806995451*s[1] + 0.1073969566*s[2])
	n := math.Cbrt(0.0883024619*s[0] + 0.2817188376*s[1] + 0.6299787005*s[2])
	return [3]float64{
		0.2104542553*l + 0.7936177850*m - 0.0040720468*n,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*n,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*n,
	}
}

// Areas lie next to areas, lines cross lines, and the limit and the price are
// drawn over areas. All of these stay apart for all eyes, by three times what is
// just noticeable.
func TestInksStayApart(t *testing.T) {
	areas, lines := []Ink{Mining, AI, Reserve, Idle, Other}, []Ink{First, Second, Third, Fourth, Fifth, Sixth}
	over := []Ink{Limit, Price}
	for name, eye := range eyes {
		for _, dark := range []bool{false, true} {
			see := func(k Ink) [3]float64 {
				if dark {
					return oklab(inks[k].dark, eye)
				}
				return oklab(inks[k].light, eye)
			}
			apart := func(a, b Ink) {
				p, q := see(a), see(b)
				if d := math.Hypot(math.Hypot(p[0]-q[0], p[1]-q[1]), p[2]-q[2]); d < 0.07 {
					t.Errorf("%s, dark %v: %s and %s are %.3f apart", name, dark, a.name(), b.name(), d)
				}
			}
			for _, group := range [][]Ink{areas, lines, over} {
				for i, a := range group {
					for _, b := range group[:i] {
						apart(a, b)
					}
				}
			}
		}
	}
}

// Inks can be seen on the ground that they are drawn on.
func TestInksStandOut(t *testing.T) {
	for k := Auto + 1; k < inkEnd; k++ {
		for ground, hex := range map[string]string{"#ffffff": inks[k].light, "#141c22": inks[k].dark} {
			a, b := luminance(ground), luminance(hex)
			ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05)
			least := 3.0 // of lines: WCAG 2.2, 1.4.11
			switch k {
			case Mining, AI, Reserve, Idle, Other:
				least = 1.5 // areas are large, and their edges touch each other more than the ground
			}
			if ratio < least {
				t.Errorf("%s on %s: contrast %.2f", k.name(), ground, ratio)
			}
		}
	}
}

func luminance(hex string) float64 {
	c := linear(hex)
	return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
}

func TestInkwell(t *testing.T) {
	c := newXY([]Panel{
		{Lines: []Series{{Name: "a"}, {Name: "b", Ink: First}, {Name: "c"}}},
		{Lines: []Series{{Name: "c"}, {Name: "b"}, {Name: "d", Ink: Price}, {Name: "e"}}},
	})
	got := map[string]Ink{}
	for _, p := range c.panels {
		for _, s := range p.Lines {
			if k, ok := got[s.Name]; ok && k != s.Ink {
				t.Errorf("%s is %s and %s", s.Name, k.name(), s.Ink.name())
			}
			got[s.Name] = s.Ink
		}
	}
	want := map[string]Ink{"a": Second, "b": First, "c": Third, "d": Price, "e": Fourth}
	for n, k := range want {
		if got[n] != k {
			t.Errorf("%s is %s, want %s", n, got[n].name(), k.name())
		}
	}
}
