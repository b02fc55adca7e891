"""Records on their way in and out: filing, documents, sheets, manifests, reading."""
