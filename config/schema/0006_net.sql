-- Who was let in: the entry under senders ('': there are none), and how ('TLSv1.3'; '': without TLS).
ALTER TABLE association ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE association ADD COLUMN tls TEXT NOT NULL DEFAULT '';
