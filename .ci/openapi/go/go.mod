module peermentor.test/roundtrip

go 1.23
