"""The signature of a new version, of a run or of a command: checked before anything is changed, and put afterwards.

A reader with a public key cannot open a version without a signature. So if the set is signed, a new version needs the
private key, or an explicit consent to leave the signature out.
"""

from __future__ import annotations

import time

from job.errors import ConfigurationError, DamageError, StoreError
from job.registry.history import signature_name
from job.registry.index import Index
from job.store import Store


class Seal:
    """Signs new versions, so that readers with a public key can open them.

    Parameters
    ----------
    store
        The output.
    key_pem
        The private key as PEM text; None if there is none.
    unsigned
        The consent: the new version may be left unsigned.
    names
        The names of the key and of the consent in messages: options of a command, or settings.

    Raises
    ------
    ConfigurationError
        Both a key and the consent are given.
    """

    def __init__(
        self,
        store: Store,
        key_pem: bytes | None,
        *,
        unsigned: bool = False,
        names: tuple[str, str] = ("--signing-key PEM", "--unsigned"),
    ) -> None:
        if key_pem is not None and unsigned:
            raise ConfigurationError(f"{names[0].split()[0]} and {names[1]} exclude each other")
        self._store, self._key, self._unsigned, self._names = store, key_pem, unsigned, names

    def check(self, version: int | None = None, *, patience: float = 0.0) -> str | None:
        """Check, before anything is changed, that the new version may be signed.

        Parameters
        ----------
        version
            The version whose rows the new one will have; None for the current one.
        patience
            Seconds to wait for another run to sign a version that it may have published just now.

        Returns
        -------
        str
            A warning for the user, that readers with a public key will be refused; None if there is nothing to warn of.

        Raises
        ------
        ConfigurationError
            The set is signed, and there is neither a key nor the consent; or the key cannot be used.
        DamageError
            The version from which the new one would be made was not signed with this key.
        """
        index = Index(self._store)
        if self._key is not None:
            self._check_trust(index, self._key, version, patience)
            return None
        current = index.version()
        if current is None:
            return None
        made_of = current if version is None else version
        signed = [each for each in sorted({current, made_of}) if self._store.head(signature_name(each)) is not None]
        if not signed:
            return None
        told = f"version {signed[-1]} of {self._store.uri} is signed, and the new one would not be"
        if not self._unsigned:
            raise ConfigurationError(
                f"{told}: readers with a public key would be refused. Nothing was changed",
                hint=f"Give the private key with {self._names[0]}, or accept it with {self._names[1]}.",
            )
        return "not signed: readers with a public key are refused until a version is signed again"

    def _check_trust(self, index: Index, key: bytes, version: int | None, patience: float) -> None:
        from job.registry.signing import trusted  # imports cryptography, which is needed only to sign

        until = time.monotonic() + patience
        while True:
            made_of = index.version() if version is None else version
            if trusted(self._store, [] if made_of is None else index.files(made_of), key):
                return
            if time.monotonic() >= until:
                break
            time.sleep(min(0.5, patience))
        raise DamageError(
            f"version {made_of} of {self._store.uri} was not signed with this key, so what is made of it cannot "
            "be: nothing was changed",
            hint="See `manyfit history`; if version and key are right, vouch for it first: "
            f"`manyfit sign OUTPUT --at {made_of} --vouch --signing-key PEM`.",
        )

    def put(self, version: int | None, *, run: str | None = None, vouch: bool = False) -> str | None:
        """Sign the version if there is a key; return the signature's name.

        Parameters
        ----------
        run
            Sign the version only if this run made it.
        vouch
            Sign the version no matter who made it, because a person has checked it.

        Raises
        ------
        DamageError, StoreError
            The version is published, but could not be signed.
        """
        if self._key is None or version is None:
            return None
        from job.registry.signing import sign_release

        try:
            return sign_release(self._store, version, self._key, run=run, vouch=vouch)
        except (DamageError, StoreError) as error:
            raise type(error)(
                f"version {version} is there, but could not be signed: {error.message}",
                hint="Readers with a public key are refused. `manyfit sign OUTPUT --signing-key PEM` signs the "
                "current version; --vouch, whoever made it.",
            ) from error
