"""A secret in a file of its own: read each time, so that it may be changed."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leadglass.errors import Misconfigured

# What providers draw has 32 to 64 characters; a file that is longer is another one.
SECRET_BYTES_MAX: Final = 1024
_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class SecretFile:
    """Where a secret is.

    Attributes:
        path: The file.
        setting: Which names it, for the remedy.
    """

    path: Path
    setting: str

    def read(self) -> str:
        """Return the secret.

        Raises:
            Misconfigured: It cannot be read, others can, or there is none in it.
        """
        try:
            with self.path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
                    raise Misconfigured(f"{self.setting}: open to others; chmod go-rwx")
                content = file.read(SECRET_BYTES_MAX + 1)
            text = content.decode("utf-8").rstrip("\r\n")
        except OSError as error:
            raise Misconfigured(
                f"{self.setting}: cannot be read: {error.strerror}"
            ) from None
        except UnicodeDecodeError:
            raise Misconfigured(
                f"{self.setting}: is not UTF-8; write the secret as that"
            ) from None
        if not text or len(content) > SECRET_BYTES_MAX:
            raise Misconfigured(
                f"{self.setting}: holds no secret; write it there, alone"
            )
        return text
