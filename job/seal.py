"""The signature of a version that a person makes: ``rollback``, ``rollback --resume`` and ``retire``.

Who reads with a public key is refused by a version without a signature. So where the set is signed these commands want
the key, or to be told that it shall be missing; and they want to know it before anything is changed.
"""

from __future__ import annotations

from job.errors import ConfigurationError, DamageError, StoreError
from job.history import signature_name
from job.index import Index
from job.store import Store


class Seal:
    """What makes a version that readers with a public key open.

    Parameters
    ----------
    store
        The output.
    key_pem
        The private key, if there is one.
    unsigned
        The person accepts that the version is not signed.

    Raises
    ------
    ConfigurationError
        A key is given, and it is to be left out.
    """

    def __init__(self, store: Store, key_pem: bytes | None, *, unsigned: bool = False) -> None:
        if key_pem is not None and unsigned:
            raise ConfigurationError("--signing-key and --unsigned exclude each other")
        self._store, self._key, self._unsigned = store, key_pem, unsigned

    def check(self, version: int | None = None) -> str | None:
        """Look before anything is changed.

        Parameters
        ----------
        version
            The version whose rows the new one will have; None for the current one.

        Returns
        -------
        str
            What to tell the person once it is done: that readers will be refused.

        Raises
        ------
        ConfigurationError
            The set is signed, and there is neither a key nor consent; or the key cannot be used.
        DamageError
            What the new version would be made of was not signed with this key.
        """
        index = Index(self._store)
        current = index.version()
        if current is None:
            return None
        source = current if version is None else version
        if self._key is not None:
            from job.signing import trusted  # needs cryptography, which the other way does not

            if not trusted(self._store, index.files(source), self._key):
                raise DamageError(
                    f"version {source} of {self._store.uri} was not signed with this key, so what is made of it cannot "
                    "be: nothing was changed",
                    hint="See `manyfit history`; if version and key are right, sign it first: "
                    "job.signing.sign_release(..., vouch=True).",
                )
            return None
        signed = [each for each in sorted({current, source}) if self._store.head(signature_name(each)) is not None]
        if not signed:
            return None
        told = f"version {signed[-1]} of {self._store.uri} is signed, and the new one would not be"
        if not self._unsigned:
            raise ConfigurationError(
                f"{told}: readers with a public key would be refused. Nothing was changed",
                hint="Give the private key with --signing-key PEM, or accept it with --unsigned.",
            )
        return "not signed: readers with a public key are refused until a version is signed again"

    def put(self, version: int | None) -> str | None:
        """Sign the version, if there is a key; its signature's name.

        Raises
        ------
        DamageError, StoreError
            The version is there, and could not be signed.
        """
        if self._key is None or version is None:
            return None
        from job.signing import sign_release

        try:
            return sign_release(self._store, version, self._key)
        except (DamageError, StoreError) as error:
            raise type(error)(
                f"version {version} could not be signed: {error.message}",
                hint="Readers with a public key are refused. `manyfit rollback OUTPUT --resume --signing-key PEM` "
                "signs the current version.",
            ) from error
