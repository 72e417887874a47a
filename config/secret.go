package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sluice"
)

// maxSecret bounds what is read from a secret's file.
const maxSecret = 64 << 10

const hidden = "[secret]"

// Reveal returns the secret itself: the value of the environment variable of
// env:NAME, the content of file:PATH without the line's end, or the text. An
// error names the variable or file, never the secret. A variable that is not
// set, or a file that cannot be read or is empty, is an error.
func (s Secret) Reveal() (string, error) {
	text := string(s)
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		v, set := os.LookupEnv(name)
		if !set || v == "" {
			return "", sluice.Errorf(sluice.Invalid, "export it before starting sluice", "the environment variable %s of a secret is not set", name)
		}
		return v, nil
	}
	path, ok := strings.CutPrefix(text, "file:")
	if !ok {
		return text, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", sluice.Errorf(sluice.Invalid, "check the path and who may read it", "the file of a secret: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", sluice.Errorf(sluice.Invalid, "", "the file of a secret: %v", err)
	}
	v := strings.TrimRight(string(data), "\r\n")
	if len(data) > maxSecret || v == "" {
		return "", sluice.Errorf(sluice.Invalid, "put the secret alone into it", "the file %s of a secret is empty or too long", path)
	}
	return v, nil
}

// clear says whether the secret itself stands in the file.
func (s Secret) clear() bool {
	return s != "" && !strings.HasPrefix(string(s), "env:") && !strings.HasPrefix(string(s), "file:")
}

// at makes a relative file:PATH start at dir.
func (s Secret) at(dir string) Secret {
	if path, ok := strings.CutPrefix(string(s), "file:"); ok && !filepath.IsAbs(path) && dir != "" {
		return Secret("file:" + filepath.Join(dir, path))
	}
	return s
}

// String hides the secret; an empty one prints empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// Format hides the secret under every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// MarshalText hides the secret, from YAML and from logs too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
