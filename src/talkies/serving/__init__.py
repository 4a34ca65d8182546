"""The HTTP service, and the studio page mounted on it. No torch, no model: it hands jobs to the queue.

    from talkies.serving.app import create_app                   # this package itself imports nothing
    from talkies.serving.settings import ModelInfo, ServiceSettings

    settings = ServiceSettings(models=(ModelInfo("nano"),))      # loopback, no keys: everything belongs to "local"
    store = JobStore(root)                                       # talkies.jobs
    app = create_app(settings, store)                            # a FastAPI application
    service: VideoService = app.state.service                    # what the routes call; the studio calls the same

`VideoService` is plain, blocking and safe to call from any thread:

    upload = service.upload(owner, path, name)                   # probed and re-encoded; an `Upload` with .id .kind
    job = service.submit(owner, VideoCreate(                     # a `talkies.jobs.Job`
        prompt="Two friends talk.", input_reference=upload.id,
        speakers=[{"name": "Ana", "audio": voice.id, "region": {"box": [0, 0, 300, 400]}}, {"name": "Ben"}],
        turns=[{"speaker": "Ana", "start": 0.5}], consent="they agreed"))
    service.get(owner, job.id), .list(owner, limit), .cancel(...), .retry(...), .delete(...)
    service.content(owner, job.id, "video" | "thumbnail" | "spritesheet" | "preview")   # a path
    service.files.path(owner, upload.id)                         # the re-encoded picture (PNG) or sound (FLAC)

Errors are `talkies.serving.errors.ApiError` and `talkies.jobs.errors`, each with a line for people.
`talkies.serving.guard.owner_of(request)` tells whose request it is: the key's id, or "local" without keys.
"""
