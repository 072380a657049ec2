"""The ML backend service that Label Studio connects to: :func:`al_rotate.bridge.backend.app.serve`."""
