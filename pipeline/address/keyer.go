package address

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
)

// digestBytes is the length to which a digest is cut: 128 bits (RFC 2104, section 5 allows half of the hash).
const digestBytes = 16

// Keyer makes the recipient key, the identity that travels on the wire. The zero value makes clear keys: the bytes of
// local@domain. With a secret the key is one byte of key-id length, the key id and 128 bits of HMAC-SHA-256 over
// local@domain: who has the log but not the secret can neither read nor confirm an address. Copies share one secret. A
// Keyer is safe for concurrent use.
type Keyer struct {
	id   string
	macs *sync.Pool // of hash.Hash, keyed
}

// NewKeyer returns a Keyer with a secret. keyID names the secret, so that it can be changed: 1 to 31 bytes, by which the
// first byte of a digest key is a control character and can never be taken for a clear one. The secret has at least 16
// bytes (RFC 2104, section 3 advises the hash's 32); it is copied.
func NewKeyer(keyID string, secret []byte) (Keyer, error) {
	if keyID == "" || len(keyID) > 31 {
		return Keyer{}, fmt.Errorf("privacy key id has %d bytes, want 1 to 31", len(keyID))
	}
	if len(secret) < digestBytes {
		return Keyer{}, fmt.Errorf("privacy secret has %d bytes, want at least %d", len(secret), digestBytes)
	}
	key := append([]byte(nil), secret...)
	return Keyer{id: keyID, macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}, nil
}

// Private reports whether keys are digests.
func (k Keyer) Private() bool { return k.macs != nil }

// AppendKey appends the key of a normalised address to b.
func (k Keyer) AppendKey(b []byte, a Address) []byte {
	if k.macs == nil {
		b = append(b, a.Local...)
		b = append(b, '@')
		return append(b, a.Domain...)
	}
	mac := k.macs.Get().(hash.Hash)
	mac.Reset()
	b = append(b, byte(len(k.id)))
	b = append(b, k.id...)
	n := len(b)
	b = append(b, a.Local...)
	b = append(b, '@')
	b = append(b, a.Domain...)
	mac.Write(b[n:])
	b = mac.Sum(b[:n])
	k.macs.Put(mac)
	return b[:n+digestBytes]
}

// Key returns the key of a normalised address.
func (k Keyer) Key(a Address) []byte { return k.AppendKey(nil, a) }
