"""The errors of Reelmill: one branch for each reaction a caller can have.

    ReelmillError
    ├── ConfigError      fix the configuration or the command, then rerun (exit code 2)
    ├── ClipError        one row gets a code in `error`, the run goes on
    │   ├── MediaError   the file or stream itself is at fault
    │   └── ClipTooShort a span has fewer frames than the computation needs
    ├── StoreError       reading or writing storage failed; retry may help
    └── ContractError    a promise is broken (ledger, checksum, schema); stop everything (exit code 1)

Messages read `<what> is <value>; <what is allowed>; <what to change>`.
"""


class ReelmillError(Exception):
    """Root of every error that Reelmill raises on purpose."""


class ConfigError(ReelmillError):
    """The configuration or the command line is wrong: nothing was done."""


class ClipError(ReelmillError):
    """One row cannot be computed.

    `code` is stable, lower-case words joined by underscores; it is what data stores. The message is for people.
    """

    code = "clip_error"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class MediaError(ClipError):
    """A file or stream cannot be read as video."""

    code = "media_error"


class ClipTooShort(ClipError):
    """A span has fewer frames than the computation needs."""

    code = "clip_too_short"


class StoreError(ReelmillError):
    """Storage did not do what was asked; a retry may help."""


class ContractError(ReelmillError):
    """Data breaks a promise: nothing that follows could be trusted."""
